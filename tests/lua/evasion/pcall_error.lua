-- Every iteration raises and catches an error of its own; that of Leash is one of many.

while true do pcall(error, "x") end
