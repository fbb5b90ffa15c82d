/**
 * The published bounds of a request: the contract names them. They keep one request's memory and
 * time within what a worker has; what is above is RESOURCE_EXHAUSTED.
 */
export const BOUNDS = {
  messageBytes: 16 * 1024 * 1024,
  sessions: 2_000,
  evses: 2_000,
  circuits: 500,
  installedPlans: 2_000,
  /** 31 days of 5 minutes. */
  slots: 8_928,
  /** Slots in which a vehicle is there, summed over the vehicles. */
  vehicleSlots: 250_000,
  circuitSlots: 1_000_000,
  seriesValues: 50_000,
  timeOfUseRules: 200,
} as const;
