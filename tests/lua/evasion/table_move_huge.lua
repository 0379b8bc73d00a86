-- table.move of what is not there.
-- Needs: guard_stdlib
-- Only: lua53 lua54 lua55 luajit

while true do pcall(table.move, {}, 1, 2 ^ 53, 2) end
