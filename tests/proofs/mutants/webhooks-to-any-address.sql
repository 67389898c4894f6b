-- An endpoint may be anywhere, and be told in the clear.
select pg_temp.mutate('https-or-local', 'and p_url is not null;');
