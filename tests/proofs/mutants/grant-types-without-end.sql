-- A project may make as many types of grants as it likes.
select pg_temp.mutate('grant-types-are-few', 'and false');
