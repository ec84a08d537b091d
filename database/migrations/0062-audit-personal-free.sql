-- The sequencer writes both rows in one transaction and entries are never deleted: the check costs a look-up for each act and finds nothing.
alter table audit_personal drop constraint audit_personal_org_id_seq_fkey;
