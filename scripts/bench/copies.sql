/*
 * How many users are written in little time: some are made by the functions themselves, and the others are copies of
 * these, row for row, and so as sound. The users that were made stand in bench.made, numbered from 0 on.
 */
create schema bench;
create function bench.user(p_nth bigint) returns uuid language sql immutable strict as
$$ select md5('user ' || p_nth::text)::uuid $$;
create table bench.made (nth integer primary key, id uuid not null unique);

-- What a provider tells of a copy.
create function bench.facts_of_copy(p_facts jsonb, p_made_id uuid, p_nth integer) returns jsonb language sql immutable as
$$ select replace(p_facts::text, p_made_id::text, bench.user(p_nth)::text)::jsonb
            || jsonb_build_object('customer_id', p_facts ->> 'customer_id' || '.' || p_nth) $$;

/*
 * Copies the rows of these tables of all who were made, until there are p_users. Another user who was made is in a copy
 * the copy of them that belongs to it; what a provider calls something has another name in each copy. Rows are written in
 * the order of time, as in life: a user's are all over the table.
 */
create function bench.copy(p_users integer, variadic p_tables regclass[]) returns void language plpgsql as $$
declare
  c_made constant integer := (select count(*) from bench.made);
  v_table record;
begin
  set local session_replication_role = replica; -- nobody signs up, and nothing is forbidden
  for v_table in
    select a.attrelid::regclass as name, string_agg(quote_ident(a.attname), ', ' order by a.attnum) as columns,
           string_agg(case
             when a.attrelid = 'auth.users'::regclass and a.attname = 'email' then $email$'user' || n || '@customers-' || n % 1000 || '.example'$email$
             when a.attname = 'user_id' or a.attrelid = 'auth.users'::regclass and a.attname = 'id' then 'bench.user(n)'
             when a.attname in ('actor_id', 'member_id', 'payer_id') then format(
               'case when t.%1$I = made.id then bench.user(n)
                     when t.%1$I is not null then coalesce(bench.user((select o.nth + n - made.nth from bench.made o where o.id = t.%1$I)), t.%1$I) end',
               a.attname)
             when a.attname in ('provider_payment_id', 'customer_id') then format($text$t.%I || '.' || n$text$, a.attname)
             when a.attname = 'facts' then 'bench.facts_of_copy(t.facts, made.id, n)'
             when a.attname = 'digest' then $digest$tokenbook.digest_of_fact(
               t.provider, t.provider_payment_id || '.' || n, t.event_id, t.event_type, bench.facts_of_copy(t.facts, made.id, n))$digest$
             when a.attname = 'terms' and a.atttypid = 'jsonb'::regtype and a.attrelid = 'public.token_transactions'::regclass then
               $text$case when t.terms #>> '{payment,provider_payment_id}' is null then t.terms
                          else jsonb_set(t.terms, '{payment,provider_payment_id}', to_jsonb(t.terms #>> '{payment,provider_payment_id}' || '.' || n)) end$text$
             else format('t.%I', a.attname) end, ', ' order by a.attnum) as fields,
           bool_or(a.attname = 'user_id') as has_user,
           case when bool_or(a.attname = 'id' and a.atttypid = 'bigint'::regtype) then 't.id, n'
                when bool_or(a.attname = 'created_at') then 't.created_at, n' else 'n' end as in_order
      from pg_attribute a
     where a.attrelid = any (p_tables) and a.attnum > 0 and not a.attisdropped and a.attidentity = '' and a.attgenerated = ''
     group by a.attrelid
  loop
    execute format(
      'insert into %1$s (%2$s)
       select %3$s
         from %1$s t
         %4$s
        cross join lateral generate_series(made.nth + $1, $2 - 1, $1) n
        %5$s',
      v_table.name, v_table.columns, v_table.fields,
      case when v_table.name = 'auth.users'::regclass then 'join bench.made on made.id = t.id'
           when v_table.has_user then 'join bench.made on made.id = t.user_id'
           else 'join tokenbook.provider_payments p on p.provider = t.provider and p.provider_payment_id = t.provider_payment_id
                 join bench.made on made.id = p.user_id' end,
      'order by ' || v_table.in_order)
      using c_made, p_users;
  end loop;
end
$$;
