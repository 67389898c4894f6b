-- What somebody else has in the other project is found when the books are closed already.
select pg_temp.mutate('keys-are-free', 'if v_rule is not null', 'if false');
