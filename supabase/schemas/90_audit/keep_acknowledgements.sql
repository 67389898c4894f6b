/*
 * The second line behind the privileges, as keep_ledger_append_only: an acknowledgement is not rewritten, not even
 * by accident and by the owner.
 */
create trigger acknowledged_findings_keep_append_only
  before update or delete or truncate on tokenbook.acknowledged_findings
  for each statement execute function tokenbook.keep_ledger_append_only();
