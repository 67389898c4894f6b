-- Takes the account's word for what there is, although some of it has run out, and pays from that.
select pg_temp.mutate('tokenbook.spend_tokens_batch', 'and (a.next_due_at > p_now or a.next_due_at is null)', '');
select pg_temp.mutate('tokenbook.spend_tokens_batch', 'open_grants_in_order(e.user_id, p_now, v_expiring_first)', $$open_grants_in_order(e.user_id, '-infinity', v_expiring_first)$$);
