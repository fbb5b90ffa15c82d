import { BarChart, CustomChart, LineChart } from "echarts/charts";
import {
  AriaComponent,
  AxisPointerComponent,
  DataZoomComponent,
  GridComponent,
  LegendPlainComponent,
  MarkLineComponent,
  MarkPointComponent,
  TitleComponent,
  TooltipComponent,
} from "echarts/components";
import { init, use } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";

/** The parts of ECharts that the report draws with; the rest stays out of the page. */
use([
  AriaComponent,
  AxisPointerComponent,
  BarChart,
  CustomChart,
  DataZoomComponent,
  GridComponent,
  LegendPlainComponent,
  LineChart,
  MarkLineComponent,
  MarkPointComponent,
  SVGRenderer,
  TitleComponent,
  TooltipComponent,
]);

export { init };
