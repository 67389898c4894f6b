-- A refund that takes no whole token leaves nothing in the ledger, so a look back at the slots that followed does not know of it.
select pg_temp.mutate('each-loss-its-entry', '(v_to_claw, v_share) > (v_was.tokens_clawed_back, v_share_before)', 'v_to_claw > v_was.tokens_clawed_back');
