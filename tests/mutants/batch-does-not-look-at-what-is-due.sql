-- Takes the account's word for what there is, although some of it has run out.
select pg_temp.mutate('tokenbook.spend_tokens_batch', 'and (a.next_due_at > p_now or a.next_due_at is null)', '');
