const R='/tmp/wt/me/dist/';
const {chargingOf}=await import(R+'src/domain/charging.js');
const {formulate}=await import(R+'src/model/formulate.js');
const hp=await import('highs');
const {site}=await import(R+'benchmarks/sites.js');
const {highsModel}=await import(R+'benchmarks/bare.js');
const H=await (hp.default.default??hp.default)();
const v=+process.argv[2], opts=JSON.parse(process.argv[3]);
const p=site(v,1);p.site.tariff.demandPeakSoFarW=0;
if(process.argv[5]==="allday"){const S=p.slotStartsMs[0];p.sessions=p.sessions.map(s=>({...s,arrivalMs:S,departureMs:S+24*3600000}));}
const {lp}=formulate(p,chargingOf(p),process.argv[6]==="scarce");
const m=H.createModel(highsModel(lp));
m.options.set({output_flag:!!process.argv[4],random_seed:0,time_limit:60,...opts});
const t=performance.now();m.run();console.log(v,JSON.stringify(opts),'cols',lp.columnCount,'rows',lp.rowCount,((performance.now()-t)/1000).toFixed(2)+'s status',m.getModelStatus(),'obj',m.getObjectiveValue(), 'primal',m.info.get('primal_solution_status'),'simplex it',m.info.get('simplex_iteration_count'),'ipm it',m.info.get('ipm_iteration_count'));
