-- The grants are looked up by a statement of their own, later than the total beside them: by three
-- milliseconds, or it would take thousands of reads until somebody spends in between.
do $$
declare
  v_asked regprocedure := 'tokenbook.choose_grants(uuid, bigint, timestamptz, integer, boolean, bigint, text, text)';
  v_later text := regexp_replace(pg_get_functiondef(v_asked), '\nbegin\n', E'\nbegin\n  perform pg_sleep(0.003);\n');
begin
  if strpos(v_later, 'pg_sleep') = 0 then
    raise exception '% does not begin where it is looked for', v_asked;
  end if;
  execute v_later;
end
$$;
alter function tokenbook.choose_grants(uuid, bigint, timestamptz, integer, boolean, bigint, text, text) volatile;
