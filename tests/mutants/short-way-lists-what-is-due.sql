-- The usual balance does not ask whether something has run out.
select pg_temp.mutate('private.balance_at_once', 'and (a.next_due_at is null or a.next_due_at > clock_timestamp())', '');
