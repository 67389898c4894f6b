-- Takes the whole share of a refund back, whatever has been taken back for it before.
select pg_temp.mutate('tokenbook.settle_refunds', $$v_to_claw - p_payment.tokens_clawed_back);
  elsif$$, $$v_to_claw);
  elsif$$);
