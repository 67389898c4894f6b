-- A budget keeps what it has passed on, and gives it back when it ends.
select pg_temp.mutate('passed-on-is-gone', 'set tokens = h.tokens,');
