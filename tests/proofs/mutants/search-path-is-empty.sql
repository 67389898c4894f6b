-- With an empty search_path a caller's temporary types and tables are found before everything else.
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid::regprocedure from pg_proc p where p.pronamespace = 'tokenbook'::regnamespace and p.prosecdef
  loop
    execute format('alter function %s set search_path = %L', v_function, '');
  end loop;
end
$$;
