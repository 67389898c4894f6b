-- Slots that began while an account was frozen are lost to who paid for them, too.
select pg_temp.mutate('paid-slots-made-up', 'and s.payment_id is null', '');
