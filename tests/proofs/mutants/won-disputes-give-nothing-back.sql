-- Forgets to give back what a dispute took, once it is won.
select pg_temp.mutate('won-disputes-give-back', 'return;
  \&');
