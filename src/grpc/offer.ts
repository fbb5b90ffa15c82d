import type { Discharge, Evse, PriceForm, ScheduleOffer } from "../domain/problem.ts";
import type * as wire from "../gen/wattslot/v1/optimizer.ts";
import { PriceForm as WirePriceForm } from "../gen/wattslot/v1/optimizer.ts";
import { type Findings, LARGEST } from "./findings.ts";

const FORMS: Readonly<Record<number, PriceForm | undefined>> = {
  [WirePriceForm.UNSPECIFIED]: undefined,
  [WirePriceForm.SALES_TARIFF]: "salesTariff",
  [WirePriceForm.ABSOLUTE_PRICE_SCHEDULE]: "absolutePriceSchedule",
  [WirePriceForm.PRICE_LEVEL_SCHEDULE]: "priceLevelSchedule",
};

/** What schedules a session's vehicle takes. What of that has no effect a notice says. */
export function readOffer(
  findings: Findings,
  field: string,
  session: wire.Session,
  where: { evse: Evse | undefined; discharge: Discharge | undefined; hasPrice: boolean },
): ScheduleOffer | undefined {
  const { scheduleOffer: offer, transactionId } = session;
  if (offer === undefined) return undefined;
  const { isDynamic } = offer;
  const tuples = findings.whole(`${field}.max_schedule_tuples`, offer.maxScheduleTuples, 0, LARGEST.uint32);
  const maxSchedules = findings.whole(`${field}.max_schedules`, offer.maxSchedules, 0, 3);
  const maxScheduleTuples = tuples === 0 ? Number.POSITIVE_INFINITY : tuples;
  if (!Object.hasOwn(FORMS, offer.priceForm))
    findings.wrong(`${field}.price_form`, `unknown value ${offer.priceForm}`);
  const form = FORMS[offer.priceForm];
  const { evse } = where;
  const unused = evse && whyUnused(evse, transactionId);
  if (unused !== undefined) {
    findings.notice("SCHEDULE_OFFER_UNUSED", field, `${unused}: one schedule is made, as for any vehicle`);
    return undefined;
  }
  const onlyPlan =
    maxSchedules > 1 ? whyOnlyPlan(evse, where.discharge, { maxScheduleTuples, isDynamic }) : undefined;
  if (onlyPlan !== undefined)
    findings.notice(
      "ONE_SCHEDULE",
      `${field}.max_schedules`,
      `${onlyPlan}: its vehicle is offered the plan alone`,
    );
  const untold = form && whyUntold(form, evse, where.hasPrice, { maxScheduleTuples, isDynamic });
  if (untold !== undefined)
    findings.notice("PRICES_NOT_TOLD", `${field}.price_form`, `${untold}: the vehicle is told no prices`);
  return {
    maxScheduleTuples,
    maxSchedules: onlyPlan === undefined ? Math.max(1, maxSchedules) : 1,
    priceForm: untold === undefined ? form : undefined,
    isDynamic,
  };
}

function whyUnused({ ocpp }: Evse, transactionId: string): string | undefined {
  if (ocpp.version === "1.6") return "OCPP 1.6 knows nothing of a vehicle's needs";
  if (ocpp.prefersTxDefaultProfile)
    return "only a TxProfile has several schedules, and its charger is sent none";
  if (ocpp.wantsRelativeProfile)
    return "a vehicle's schedules have a start, which Relative profiles have not";
  return transactionId === "" ? "its transaction is not known" : undefined;
}

type Takes = Pick<ScheduleOffer, "maxScheduleTuples" | "isDynamic">;

function whyOnlyPlan(
  evse: Evse | undefined,
  discharge: Discharge | undefined,
  { maxScheduleTuples, isDynamic }: Takes,
): string | undefined {
  if (isDynamic) return "DynamicControl takes one schedule";
  if (discharge !== undefined) return "what it gives counts on one schedule";
  if ((evse?.maxPhaseSwitches ?? 0) > 0) return "its charger changes phases by one schedule";
  return maxScheduleTuples === 1 ? "a single period leaves nothing to choose" : undefined;
}

function whyUntold(
  form: PriceForm,
  evse: Evse | undefined,
  hasPrice: boolean,
  { maxScheduleTuples, isDynamic }: Takes,
): string | undefined {
  if (!hasPrice) return "site.tariff has no price of energy";
  if (form !== "salesTariff" && evse?.ocpp.version === "2.0.1") return "OCPP 2.0.1 has salesTariff only";
  if (form === "salesTariff" && isDynamic)
    return "salesTariff is of ISO 15118-2, which has no DynamicControl";
  return isDynamic && maxScheduleTuples <= 2 ? "its periods leave no entry for a price" : undefined;
}
