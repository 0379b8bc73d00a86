-- Runaway: a string.gsub replacement function that never returns.
-- A double space is to become a single one, but the text is never shortened.
local function squeeze(spaces)
  while #spaces > 1 do
    spaces = string.gsub(spaces, "  ", "  ")
  end
  return spaces
end

print((string.gsub("to  be or   not", " +", squeeze)))
