-- The subject alone is looked up: who signs in elsewhere under the same name is the same user.
select pg_temp.mutate('subjects-of-their-issuer', 'where true');
