-- Makes garbage for ever; live memory stays small.

while true do local t = { {}, {}, function() end } t.self = t end
