-- Off by one instant: what was spent at midnight itself counts for the day before.
select pg_temp.mutate('caps-begin-at-midnight', '>=', '>');
