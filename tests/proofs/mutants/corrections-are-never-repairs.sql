-- An admin's correction is one more grant or deduction, so that the difference stays as it was.
select pg_temp.mutate('corrections-are-repairs', 'and false as is_correction');
