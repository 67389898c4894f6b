-- Takes the account's word for what there is, although some of it has run out.
select pg_temp.mutate('private.spend_many', 'and (a.next_due_at > p_now or a.next_due_at is null)', '');
