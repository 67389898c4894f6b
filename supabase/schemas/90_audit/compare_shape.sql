/*
 * What of ours is not as it was made: missing, otherwise, or there though nobody declared it. A fault is what changes
 * what is computed, who sees it or whether it lasts; a warning what a project may have added to our tables without
 * changing that (an index, a column that may be left out, a table in our schema), and a publication.
 * Of what nobody declared, only the thing itself is named, and not its parts.
 * Caller: internal (check_token_installation).   Returns kind, status, finding, remedy.
 */
create function tokenbook.compare_shape()
returns table (kind text, status text, finding text, remedy text)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  with present as (
    select * from tokenbook.present_shape()
  ), declared as (
    select * from tokenbook.declared_shape()
  ), differences as (
    select coalesce(d.kind, p.kind) as kind, coalesce(d.relation, p.relation) as relation, coalesce(d.name, p.name) as name,
           d.definition as declared, p.definition as present
      from declared d
      full join present p on (p.kind, p.relation, p.name) = (d.kind, d.relation, d.name)
     where d.definition is distinct from p.definition -- @shape-is-compared
  ), lines as (
    -- what differs line by line, but for texts, of which only digests are kept
    select s.*,
           (select string_agg(line, ', ' order by n) from unnest(string_to_array(s.present, chr(10))) with ordinality as l (line, n)
             where line <> all (coalesce(string_to_array(s.declared, chr(10)), '{}')) and not (s.kind in ('function', 'view') and line like 'text %')) as added,
           (select string_agg(line, ', ' order by n) from unnest(string_to_array(s.declared, chr(10))) with ordinality as l (line, n)
             where line <> all (coalesce(string_to_array(s.present, chr(10)), '{}')) and not (s.kind in ('function', 'view') and line like 'text %')) as lost,
           case when s.kind in ('function', 'view') and substring(s.present from '(?n)^text [0-9a-f]+$') <> substring(s.declared from '(?n)^text [0-9a-f]+$')
             then 'another text' end as other_text,
           case when s.kind in ('table', 'foreign table', 'view', 'sequence', 'function', 'index') then format('%s %s', s.kind, s.name)
                when s.kind = 'column' then format('column %s.%s', s.relation, s.name)
                when s.kind = 'publication' then format('publication %s of %s', s.name, s.relation)
                else format('%s %s on %s', s.kind, s.name, s.relation) end as thing
      from differences s
     -- the parts of what is missing, or nobody declared, go without saying
     where s.name = s.relation or s.relation = ''
        or (exists (select 1 from present p where p.relation = s.relation and p.name = s.relation)
              = exists (select 1 from declared d where d.relation = s.relation and d.name = s.relation))
  )
  select l.kind,
         case
           when l.kind = 'publication' then 'warning'
           when l.declared is null then
             case when l.kind in ('table', 'foreign table', 'view', 'sequence')
                    or (l.kind = 'index' and l.present !~ '^CREATE UNIQUE')
                    -- one that must be given is given by none of ours
                    or (l.kind = 'column' and not (l.present ~ '(?n)^not null$' and l.present !~ '(?n)^(default|generated) '))
                  then 'warning' else 'fault' end
           when l.kind = 'table' and l.added = 'replica identity full' and l.lost is null then 'warning'
           else 'fault'
         end,
         l.thing || case
           when l.present is null then ' is missing'
           when l.declared is null then ' is there, and nobody declared it' || case when l.kind in ('column', 'constraint', 'policy') then ': ' || l.added else '' end
           else ' is not as it was made: ' || concat_ws(', ',
             case when l.lost is null then l.added else concat_ws(' ', l.added, case when l.added is null then 'without' else 'instead of' end, l.lost) end,
             l.other_text)
         end,
         tokenbook.mend_shape(l.kind, l.relation, l.name, l.declared, l.present)
    from lines l;
end
$$;
comment on function tokenbook.compare_shape is
  'What of Tokenbook''s is missing, otherwise than it was made, or there though nobody declared it. Returns kind, status (warning, fault), finding, remedy (statements; NULL where none mends it without a loss).';
