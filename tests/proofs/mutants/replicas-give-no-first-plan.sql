-- On a read replica a user who is to be given their first plan has nothing.
select pg_temp.mutate('first-plans-are-written', '(tokenbook.plan_to_begin(v_account_id)).plan_type is not null', 'false');
