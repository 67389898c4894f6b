-- A migration that changes a function's parameters has to drop it, and what was revoked is granted again.
do $$
declare
  v_function regprocedure;
  v_definition text;
begin
  foreach v_function in array array[
    'public.adjust_tokens'::regproc::oid::regprocedure, 'tokenbook.set_token_burn_order'::regproc::oid::regprocedure]
  loop
    v_definition := pg_get_functiondef(v_function);
    execute format('drop function %s', v_function);
    execute v_definition;
  end loop;
end
$$;
