-- A setup fee as high as the price buys a period, as the price does.
select pg_temp.mutate('one-payment-a-period', '');
