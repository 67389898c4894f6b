-- The grants are looked up by a statement of their own, later than the total beside them.
alter function tokenbook.choose_grants(uuid, bigint, timestamptz, integer, boolean) volatile;
