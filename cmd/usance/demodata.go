package main

// demoBrand and the other types here describe the made-up business of the demo.
type (
	demoBrand   struct{ id, name string }
	demoCreator struct{ id, name, email string }
	demoAsset   struct {
		id, name, kind string
		owners         string // JSON
	}
	demoLicense struct {
		id, name, brand, asset, status, zone string
		anchor                               int
		fields                               string // further JSON members
	}
	// demoLimit is a threshold; fields are further JSON members. A limit of 0 stands
	// for one that will be used up some days after the year's end.
	demoLimit struct {
		license, usageType, period string
		limit                      int64
		fields                     string
	}
	// demoFlow is the usage of one type under one licence.
	demoFlow struct {
		license, usageType string
		events             int     // a day, about
		units              int     // of an event, about
		growth             float64 // over the year: 0.5 is half as much again
		weekend            float64 // factor on Saturdays and Sundays
		season             float64 // swing over the year, 0 to 1
		peakMonth          int     // of the season
		cents              float64 // revenue a unit
		mix                string  // a key of demoMixes
		campaigns          []demoCampaign
	}
	// demoCampaign multiplies usage for some days; with a referrer all of it comes
	// from there.
	demoCampaign struct {
		daysAgo, days int
		factor        float64
		referrer      string
	}
	// demoMix is what events of a flow look like; repeats weigh.
	demoMix struct{ platforms, devices, places, referrers []string }
)

var demoBrands = []demoBrand{
	{"northwind", "Northwind Outdoor"},
	{"lumen", "Lumen Beverages"},
	{"atlas", "Atlas Travel"},
	{"pixelworks", "Pixelworks Games"},
}

var demoCreators = []demoCreator{
	{"ines", "Inês Carvalho", "ines@example.com"},
	{"kofi", "Kofi Mensah", "kofi@example.com"},
	{"mei", "Mei Tanaka", "mei@example.com"},
	{"oak", "Studio Oak", "office@studio-oak.example"},
	{"yara", "Yara Haddad", "yara@example.com"},
}

var demoAssets = []demoAsset{
	{"photo_fitzroy", "Dawn over Fitz Roy", "photo", `[{"creatorId":"ines","shareBps":10000}]`},
	{"photo_tide", "Tide Tables", "photo", `[{"creatorId":"ines","shareBps":6000},{"creatorId":"yara","shareBps":4000}]`},
	{"photo_souk", "Souk at Noon", "photo", `[{"creatorId":"yara","shareBps":10000}]`},
	{"photo_dunes", "Dunes, Series of Nine", "photo", `[{"creatorId":"yara","shareBps":10000}]`},
	{"music_harmattan", "Harmattan", "music", `[{"creatorId":"kofi","shareBps":10000}]`},
	{"music_lowtide", "Low Tide (theme)", "music", `[{"creatorId":"kofi","shareBps":5000},{"creatorId":"oak","shareBps":5000}]`},
	{"music_loops", "Pocket Loops Vol. 2", "music", `[{"creatorId":"kofi","shareBps":10000}]`},
	{"art_cranes", "A Thousand Cranes", "illustration", `[{"creatorId":"mei","shareBps":10000}]`},
	{"art_icons", "Wayfinding Icons", "illustration", `[{"creatorId":"mei","shareBps":7500},{"creatorId":"oak","shareBps":2500}]`},
	{"film_trail", "The Long Trail", "film", `[{"creatorId":"oak","shareBps":8000},{"creatorId":"kofi","shareBps":2000}]`},
	{"film_harbor", "Harbor, 24 Hours", "film", `[{"creatorId":"oak","shareBps":10000}]`},
	{"font_meridian", "Meridian Sans", "font", `[{"creatorId":"mei","shareBps":3334},{"creatorId":"oak","shareBps":3333},{"creatorId":"yara","shareBps":3333}]`},
}

var demoLicenses = []demoLicense{
	{"lic_123", "Fitz Roy, web", "northwind", "photo_fitzroy", "ACTIVE", "America/New_York", 1, `"feeCents":240000,"revShareBps":1500`},
	{"lic_northwind_trail", "The Long Trail, video", "northwind", "film_trail", "ACTIVE", "America/Los_Angeles", 1, `"feeCents":1200000,"revShareBps":2000`},
	{"lic_northwind_icons", "Icons, app and shops", "northwind", "art_icons", "ACTIVE", "America/Denver", 15, `"feeCents":90000`},
	{"lic_northwind_print", "Fitz Roy, catalogue", "northwind", "photo_fitzroy", "EXPIRING_SOON", "America/New_York", 1, `"feeCents":300000,"revShareBps":1000`},
	{"lic_lumen_theme", "Low Tide, spots", "lumen", "music_lowtide", "ACTIVE", "Europe/Berlin", 1, `"currency":"EUR","feeCents":1800000,"revShareBps":1200`},
	{"lic_lumen_cranes", "Cranes, labels", "lumen", "art_cranes", "ACTIVE", "Asia/Tokyo", 31, `"currency":"JPY","feeCents":500000,"revShareBps":800`},
	{"lic_lumen_tide", "Tide Tables, social", "lumen", "photo_tide", "ACTIVE", "Europe/London", 1, `"currency":"GBP","feeCents":150000`},
	{"lic_lumen_font", "Meridian Sans, all media", "lumen", "font_meridian", "ACTIVE", "UTC", 1, `"feeCents":75000`},
	{"lic_atlas_souk", "Souk, magazine", "atlas", "photo_souk", "ACTIVE", "Asia/Kolkata", 1, `"currency":"INR","feeCents":8000000,"revShareBps":1500`},
	{"lic_atlas_dunes", "Dunes, web and app", "atlas", "photo_dunes", "ACTIVE", "Australia/Adelaide", 1, `"currency":"AUD","feeCents":420000,"revShareBps":1500`},
	{"lic_atlas_harbor", "Harbor, in-flight", "atlas", "film_harbor", "ACTIVE", "America/Sao_Paulo", 5, `"currency":"BRL","feeCents":900000`},
	{"lic_atlas_tide", "Tide Tables, web", "atlas", "photo_tide", "EXPIRED", "Europe/Lisbon", 1, `"currency":"EUR","feeCents":110000`},
	{"lic_pixel_loops", "Loops, in game", "pixelworks", "music_loops", "ACTIVE", "America/Chicago", 1, `"feeCents":600000,"revShareBps":2500`},
	{"lic_pixel_harmattan", "Harmattan, trailer", "pixelworks", "music_harmattan", "ACTIVE", "Africa/Accra", 1, `"feeCents":350000,"revShareBps":1800`},
	{"lic_pixel_cranes", "Cranes, skins", "pixelworks", "art_cranes", "SUSPENDED", "Asia/Seoul", 1, `"feeCents":200000,"revShareBps":3000`},
	{"lic_pixel_font", "Meridian Sans, game", "pixelworks", "font_meridian", "ACTIVE", "America/Halifax", 1, `"feeCents":60000`},
}

var demoLimits = []demoLimit{
	{"lic_123", "all", "yearly", 12_000, `"allowOverage":true,"warningLevels":[50,80,100]`},
	{"lic_northwind_trail", "play", "monthly", 480_000, `"gracePercentage":5,"allowOverage":true,"overageRateCents":0.25`},
	{"lic_northwind_icons", "download", "monthly", 9_000, `"gracePercentage":0,"allowOverage":false`},
	{"lic_northwind_print", "print", "quarterly", 60_000, `"gracePercentage":10,"allowOverage":true,"overageRateCents":4`},
	{"lic_lumen_theme", "stream", "monthly", 1_000_000, `"gracePercentage":10,"allowOverage":true,"overageTiers":[{"upTo":50000,"rateCents":0.4},{"upTo":200000,"rateCents":0.3},{"upTo":0,"rateCents":0.2}]`},
	{"lic_lumen_cranes", "print", "monthly", 52_000, `"gracePercentage":2,"allowOverage":false`},
	{"lic_lumen_tide", "impression", "weekly", 330_000, `"gracePercentage":10,"allowOverage":true,"overageRateCents":0.02`},
	{"lic_lumen_font", "all", "total", 2_500_000, `"gracePercentage":10,"allowOverage":true,"overageRateCents":0.02`},
	{"lic_atlas_souk", "view", "monthly", 150_000, `"gracePercentage":10,"allowOverage":true,"overageRateCents":0.5`},
	{"lic_atlas_dunes", "view", "daily", 16_000, `"gracePercentage":20,"allowOverage":true`},
	{"lic_atlas_dunes", "download", "yearly", 90_000, `"gracePercentage":10,"allowOverage":true,"overageRateCents":12`},
	{"lic_atlas_harbor", "play", "monthly", 37_000, `"gracePercentage":0,"allowOverage":false`},
	{"lic_pixel_loops", "play", "monthly", 4_400_000, `"gracePercentage":0,"allowOverage":true,"overageRateCents":0.05`},
	{"lic_pixel_loops", "all", "quarterly", 13_000_000, `"allowOverage":true,"warningLevels":[75,100,125]`},
	{"lic_pixel_harmattan", "stream", "monthly", 105_000, `"gracePercentage":10,"allowOverage":true,"overageRateCents":1`},
	{"lic_pixel_font", "impression", "total", 0, `"allowOverage":true`},
}

var demoFlows = []demoFlow{
	{"lic_123", "view", 16, 2, 0.4, 0.7, 0.3, 11, 0, "shop", []demoCampaign{{200, 10, 1.6, ""}}},
	{"lic_123", "click", 6, 1, 0.4, 0.7, 0.3, 11, 0, "shop", nil},
	{"lic_northwind_trail", "play", 24, 430, 0.5, 1.3, 0.35, 7, 0.8, "video", []demoCampaign{{120, 12, 2, ""}, {35, 9, 1.7, ""}}},
	{"lic_northwind_trail", "impression", 13, 1520, 0.4, 1.1, 0.3, 7, 0, "social", []demoCampaign{{120, 12, 2.4, ""}}},
	{"lic_northwind_icons", "download", 13, 24, 0.3, 0.4, 0.1, 3, 0, "app", nil},
	{"lic_northwind_print", "print", 6, 110, 0.1, 0.2, 0.5, 11, 3, "paper", []demoCampaign{{75, 14, 2.2, ""}}},
	{"lic_lumen_theme", "stream", 29, 1030, 0.35, 1.2, 0.3, 7, 0.3, "music", []demoCampaign{{150, 20, 1.5, ""}, {20, 12, 1.4, ""}}},
	{"lic_lumen_theme", "impression", 11, 2290, 0.2, 1.1, 0.3, 7, 0, "social", nil},
	{"lic_lumen_cranes", "print", 7, 240, 0.25, 0.5, 0.3, 4, 1.5, "paper", nil},
	{"lic_lumen_tide", "impression", 20, 1620, 0.6, 1.2, 0.4, 6, 0, "social", []demoCampaign{{60, 10, 1.9, ""}, {3, 1, 0.1, ""}}},
	{"lic_lumen_tide", "click", 8, 38, 0.6, 1.2, 0.4, 6, 0, "social", nil},
	{"lic_lumen_font", "view", 14, 690, 0.2, 0.8, 0.1, 1, 0, "shop", nil},
	{"lic_atlas_souk", "view", 22, 200, 0.3, 1.3, 0.45, 1, 0, "travel", []demoCampaign{{95, 15, 1.8, ""}}},
	{"lic_atlas_souk", "print", 3, 300, 0, 0.3, 0.3, 10, 2, "paper", nil},
	{"lic_atlas_dunes", "view", 23, 310, 0.7, 1.4, 0.5, 12, 0, "travel", []demoCampaign{{50, 8, 2, ""}}},
	{"lic_atlas_dunes", "download", 8, 32, 0.6, 0.8, 0.3, 12, 90, "app", []demoCampaign{{2, 1, 4, "https://mirror.example/"}}},
	{"lic_atlas_harbor", "play", 12, 80, 0.3, 1.1, 0.25, 1, 0, "flight", nil},
	{"lic_atlas_tide", "view", 11, 98, 0, 1.2, 0.5, 8, 0, "travel", nil},
	{"lic_pixel_loops", "play", 31, 2520, 0.8, 1.6, 0.2, 12, 0.02, "game", []demoCampaign{{180, 7, 2, ""}, {28, 10, 1.8, ""}}},
	{"lic_pixel_loops", "download", 6, 150, 0.5, 1.5, 0.2, 12, 4, "game", nil},
	{"lic_pixel_harmattan", "stream", 18, 170, 0.4, 1.3, 0.3, 6, 0.6, "music", []demoCampaign{{110, 9, 2.2, ""}}},
	{"lic_pixel_cranes", "view", 7, 140, 0.2, 1.5, 0.2, 12, 0, "game", nil},
	{"lic_pixel_font", "impression", 10, 800, 0.5, 1.4, 0.2, 12, 0, "game", nil},
}

var demoMixes = map[string]demoMix{
	"shop": {
		[]string{"web", "web", "web", "mobile", "social"},
		[]string{"desktop", "desktop", "mobile", "mobile", "mobile", "tablet"},
		[]string{"US", "US", "US", "US", "CA", "GB", "DE", "MX"},
		[]string{"", "", "https://www.google.com/", "https://www.google.com/", "https://northwind.example/blog/gear", "https://www.pinterest.com/pin/1", "https://news.example/"},
	},
	"video": {
		[]string{"web", "mobile", "mobile", "tv", "tv", "social"},
		[]string{"mobile", "mobile", "desktop", "tv", "tv", "tablet"},
		[]string{"US", "US", "US", "CA", "AU", "GB", "FR", "JP"},
		[]string{"", "https://www.youtube.com/", "https://www.youtube.com/", "https://vimeo.com/", "https://www.reddit.com/r/hiking"},
	},
	"social": {
		[]string{"social", "social", "social", "mobile", "web"},
		[]string{"mobile", "mobile", "mobile", "mobile", "desktop", "tablet"},
		[]string{"GB", "GB", "DE", "FR", "US", "IE", "NL", "ES"},
		[]string{"https://www.instagram.com/", "https://www.instagram.com/", "https://www.tiktok.com/", "https://www.facebook.com/", ""},
	},
	"app": {
		[]string{"mobile", "mobile", "mobile", "web"},
		[]string{"mobile", "mobile", "tablet", "desktop"},
		[]string{"US", "US", "CA", "AU", "NZ", "GB"},
		[]string{"", "", "", "https://apps.example/store"},
	},
	"paper": {
		[]string{"print"},
		[]string{"other"},
		[]string{"US", "JP", "JP", "IN", "DE"},
		[]string{""},
	},
	"music": {
		[]string{"mobile", "mobile", "mobile", "web", "tv", "other"},
		[]string{"mobile", "mobile", "mobile", "desktop", "tv", "other"},
		[]string{"DE", "DE", "AT", "CH", "GH", "NG", "US", "GB"},
		[]string{"https://open.spotify.com/", "https://open.spotify.com/", "https://music.apple.com/", "https://soundcloud.com/", ""},
	},
	"travel": {
		[]string{"web", "web", "mobile", "mobile", "social"},
		[]string{"mobile", "mobile", "desktop", "tablet"},
		[]string{"IN", "IN", "AU", "AU", "AE", "SG", "GB", "US", "MA"},
		[]string{"", "https://www.google.com/", "https://www.google.com/", "https://www.bing.com/", "https://www.tripadvisor.com/", "https://atlas.example/guides"},
	},
	"flight": {
		[]string{"tv", "tv", "tv", "mobile"},
		[]string{"tv", "tv", "tv", "tablet"},
		[]string{"BR", "BR", "PT", "AR", "CL"},
		[]string{""},
	},
	"game": {
		[]string{"mobile", "mobile", "mobile", "web", "other"},
		[]string{"mobile", "mobile", "tablet", "desktop", "other"},
		[]string{"US", "US", "KR", "KR", "JP", "CA", "BR", "DE"},
		[]string{"", "", "https://store.steampowered.com/", "https://www.twitch.tv/", "https://discord.com/"},
	},
}
