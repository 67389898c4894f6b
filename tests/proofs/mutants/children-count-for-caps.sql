-- A cap counts a budget, and each part of it again.
select pg_temp.mutate('splits-spend-nothing', '\&
    update public.token_accounts a set spent_day = a.spent_day + p_tokens where a.user_id = v_entry.user_id;');
