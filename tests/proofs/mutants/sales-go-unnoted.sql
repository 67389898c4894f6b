-- What a payment bought is not noted as sold.
select pg_temp.mutate('sales-are-noted', '');
