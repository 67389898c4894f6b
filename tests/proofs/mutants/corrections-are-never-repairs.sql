-- An admin's correction is one more grant or deduction, so that the difference stays as it was.
select pg_temp.mutate('tokenbook.live_difference', $$and t.reason !~* '^[[:space:]]*goodwill' as is_correction$$, 'and false as is_correction');
