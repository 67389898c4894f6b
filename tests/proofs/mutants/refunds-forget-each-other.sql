-- Does not look at what has been refunded of a charge before.
select pg_temp.mutate('tokenbook.refund_tokens', 'v_refundable := -v_charge.tokens - v_before;', 'v_refundable := -v_charge.tokens;');
