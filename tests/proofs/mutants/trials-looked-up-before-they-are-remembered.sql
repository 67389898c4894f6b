-- Whether somebody had a trial is looked up first and remembered afterwards, as most apps do.
select pg_temp.mutate('first-digest-decides', $mutant$v_new := cardinality(v_identifiers)
    - (select count(*) from tokenbook.trials_taken t where t.identifier = any (v_identifiers));
  perform pg_sleep(0.05);
  insert into tokenbook.trials_taken (identifier) select i.identifier from unnest(v_identifiers) as i (identifier) on conflict do nothing;$mutant$);
