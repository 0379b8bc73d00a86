-- A loop made of goto.
-- Only: lua52 lua53 lua54 lua55 luajit

::again::
goto again
