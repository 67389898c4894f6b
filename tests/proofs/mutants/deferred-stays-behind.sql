-- What is deferred of a moved user's sales stays in the books of where they were.
select pg_temp.mutate('deferred-once', 'p_sign * sum', '0 * sum');
