-- A column is forgotten when the past is moved: a hold runs out when it would have anyway.
select pg_temp.mutate('each-moment-moves', '\& and a.attname <> ''expires_at''');
