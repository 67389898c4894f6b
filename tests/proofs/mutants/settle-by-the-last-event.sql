-- Remembers only what the last event said of refunds, instead of the most that any has said.
create or replace function tokenbook.keep_last_refund() returns trigger language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  new.refunded_cents := coalesce(
    (select (e.facts ->> 'refunded_cents')::bigint from tokenbook.provider_events e
      where e.provider = new.provider and e.provider_payment_id = new.provider_payment_id
      order by e.received_at desc limit 1), old.refunded_cents);
  return new;
end
$$;
create trigger keep_last_refund before update on tokenbook.provider_payments
  for each row execute function tokenbook.keep_last_refund();
