-- The subject alone is looked up: a user with the same subject at another issuer is the same user.
select pg_temp.mutate('subjects-of-their-issuer', 'where true');
