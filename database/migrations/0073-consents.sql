-- Consents (GDPR Art. 7): what a person agreed to or refused, in which words, and the proof. Rows are only ever added; the last one
-- of a subject and a purpose says how it stands.
create table consent_records (
  org_id uuid not null references organisations,
  id uuid not null,
  -- HMAC of the subject's reference with the organisation's key: nobody is named here.
  subject bytea not null,
  purpose text not null check (purpose ~ '^[a-z][a-z0-9-]{0,63}$'),
  state text not null check (state in ('given', 'withdrawn')),
  legal_basis text not null check (legal_basis in ('consent', 'explicit-consent', 'contract', 'legal-obligation', 'vital-interests', 'public-task', 'legitimate-interests')),
  -- Version of the words that were shown, and where it was agreed, e.g. `2026-01` and `signup-form`.
  text_version text not null,
  source text not null,
  -- SHA-256 of what proves it (the form as sent, the recording), kept by whoever holds it.
  proof_hash bytea,
  -- When the person decided, as the source says; `recorded_at` is the database's.
  at timestamptz not null,
  recorded_at timestamptz not null default clock_timestamp(),
  -- Place among the records of the organisation: what was recorded later counts.
  seq bigint not null generated always as identity,
  recorded_by text not null,
  primary key (org_id, id)
);
create index consent_records_of_subject on consent_records (org_id, subject, purpose, seq desc);
create index consent_records_by_purpose on consent_records (org_id, purpose, seq desc);
call hal9_guard('consent_records', 'select', 'insert');
call hal9_system_access('consent_records', 'select');
create function hal9_consent_stays() returns trigger language plpgsql as $$
begin
  raise exception 'a consent record does not change; withdraw it by another' using errcode = 'HS409';
end
$$;
create trigger consent_records_stay before update on consent_records for each row execute function hal9_consent_stays();
