-- A refund by hand that bounced has taken its tokens for good.
select pg_temp.mutate('less-gives-back', 'v_refunded', 'greatest(v_refunded, v_payment.refunded_cents)');
