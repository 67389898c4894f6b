-- What a generated schema does with every user_id.
do $$
declare
  v_table text;
begin
  foreach v_table in array array['token_accounts', 'token_balances', 'token_payments'] loop
    execute format('alter table public.%I add constraint of_a_user foreign key (user_id) references auth.users (id) on delete cascade', v_table);
  end loop;
end
$$;
