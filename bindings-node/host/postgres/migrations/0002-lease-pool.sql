-- One row about each gateway of a pool, as the machine `lease` of the core has it. A state keeps only what belongs
-- to it; the rest is null. Times are by this database's clock, in whole milliseconds.
CREATE TABLE tidegate_leases (
  gateway text PRIMARY KEY,
  address text NOT NULL,
  state text NOT NULL DEFAULT 'free'
    CHECK (state IN ('free', 'allocating', 'active', 'held', 'releasing', 'quarantined', 'retired')),
  -- The last epoch that was granted. Never lost, never lowered: it fences whoever was superseded.
  epoch bigint NOT NULL DEFAULT 0 CHECK (epoch BETWEEN 0 AND 9007199254740991),
  incarnation bigint NOT NULL DEFAULT 0 CHECK (incarnation BETWEEN 0 AND 9007199254740991),
  request text,
  failures bigint NOT NULL DEFAULT 0,
  organization text,
  hostname text,
  until timestamptz,
  cause text,
  suspect timestamptz,
  predecessor timestamptz,
  attempt integer,
  unrouting text,
  routed boolean,
  CHECK ((organization IS NULL) = (state IN ('free', 'retired'))),
  CHECK ((hostname IS NULL) = (state IN ('free', 'retired'))),
  CHECK ((until IS NULL) = (state IN ('free', 'retired'))),
  CHECK (epoch > 0 AND request IS NOT NULL OR state IN ('free', 'retired'))
);

-- An organization has one gateway, however many control planes allocate at once. A quarantined row counts for
-- none: its organization may have another gateway.
CREATE UNIQUE INDEX tidegate_leases_organization ON tidegate_leases (organization)
  WHERE state IN ('allocating', 'active', 'held', 'releasing');

CREATE INDEX tidegate_leases_request ON tidegate_leases (request);

CREATE INDEX tidegate_leases_free ON tidegate_leases (gateway) WHERE state = 'free';

CREATE FUNCTION tidegate_lease_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    RAISE EXCEPTION 'gateway % is never deleted, as its epoch fences earlier holders: retire it', OLD.gateway
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RAISE EXCEPTION 'stale epoch: gateway % has epoch %, and % is lower', OLD.gateway, OLD.epoch, NEW.epoch
    USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER tidegate_lease_epoch BEFORE UPDATE OF epoch ON tidegate_leases
  FOR EACH ROW WHEN (NEW.epoch < OLD.epoch) EXECUTE FUNCTION tidegate_lease_refuse();

CREATE TRIGGER tidegate_lease_kept BEFORE DELETE ON tidegate_leases
  FOR EACH ROW EXECUTE FUNCTION tidegate_lease_refuse();

-- Whether a write that carries this epoch may go on, for resources in the same database:
--   UPDATE documents SET … WHERE … AND tidegate_lease_holds($gateway, $epoch)
CREATE FUNCTION tidegate_lease_holds(gateway text, epoch bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (
    SELECT FROM tidegate_leases lease
    WHERE lease.gateway = $1 AND lease.state IN ('allocating', 'active') AND now() < lease.until
      AND (lease.epoch = $2 OR lease.epoch = $2 + 1 AND now() < lease.predecessor)
  )
$$;
