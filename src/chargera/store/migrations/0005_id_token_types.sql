-- OCPP 2.0.1 knows an identifier by value and type: one value under two types are two identifiers.
-- The value comes first in the key: whatever looks for it alone goes on using it.

alter table id_token drop constraint id_token_pkey;
alter table id_token add primary key (id_token_key, id_token_type);
comment on column id_token.id_token_key is 'casefolded value: matching disregards case';
