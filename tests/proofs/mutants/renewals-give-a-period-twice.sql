-- Does not ask whether the period has been begun.
select pg_temp.mutate('tokenbook.start_period',
  'else b.subscription_id = subscription.id and b.period_start = p_period_start end;', 'else false end;');
