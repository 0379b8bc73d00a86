-- table.insert at a position far before the first: all between is moved up, though there is nothing.
-- Needs: guard_stdlib
-- Only: lua51 luajit

while true do pcall(table.insert, {}, -2 ^ 31, "x") end
