-- Refunds from the front of what was paid, not from its end.
select pg_temp.mutate('tokenbook.refund_tokens', 'v_refundable - v_entry.tokens, v_refundable)', 'v_before, v_before + v_entry.tokens)');
