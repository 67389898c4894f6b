-- An old deduction is paid by a grant that came after it.
select pg_temp.mutate('granted-before-it-pays', 'if true');
