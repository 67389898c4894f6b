-- A balance by the fast path does not ask whether something has run out.
select pg_temp.mutate('tokenbook.get_balance_fast_path', 'and (a.next_due_at is null or a.next_due_at > clock_timestamp())', '');
