-- Texts that take a compiler the square of their length: minutes.
-- Needs: guard_stdlib

local texts = {
  "local a return " .. ("a and "):rep(300000) .. "a",
  "local a if a then " .. ("elseif a then "):rep(300000) .. "end",
  "while true do " .. ("if a then break end "):rep(30000) .. "end",
}
while true do
  for _, text in ipairs(texts) do
    (loadstring or load)(text)
    load(function() return text end)
    pcall(load, text)
  end
end
